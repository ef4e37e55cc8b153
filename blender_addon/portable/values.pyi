from legs4d.portable.values import *
