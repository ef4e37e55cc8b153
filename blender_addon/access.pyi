from backend.access import *
