from legs4d.portable.sh import *
