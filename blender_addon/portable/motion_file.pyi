from legs4d.portable.motion_file import *
