from legs4d.portable.spz_writer import *
