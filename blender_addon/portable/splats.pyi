from legs4d.portable.splats import *
