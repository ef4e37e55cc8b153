from legs4d.portable.bending import *
