from backend.wire import *
