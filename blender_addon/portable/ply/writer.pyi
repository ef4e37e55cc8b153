from legs4d.portable.ply.writer import *
