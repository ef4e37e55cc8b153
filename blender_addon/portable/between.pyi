from legs4d.portable.between import *
