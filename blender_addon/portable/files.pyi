from legs4d.portable.files import *
