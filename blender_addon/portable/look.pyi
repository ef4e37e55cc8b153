from legs4d.portable.look import *
