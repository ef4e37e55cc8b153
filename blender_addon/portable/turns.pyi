from legs4d.portable.turns import *
