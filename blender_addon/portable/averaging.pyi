from legs4d.portable.averaging import *
