from legs4d.portable.pointing import *
