"""The op families, one file each. Importing this package defines the whole table and installs its methods."""

from .. import autograd
from ..op import install
from . import activation as activation
from . import attention as attention
from . import bag as bag
from . import batch_norm as batch_norm
from . import bitwise as bitwise
from . import calculus as calculus
from . import classification as classification
from . import compare as compare
from . import conv as conv
from . import copy as copy
from . import create as create
from . import ctc as ctc
from . import distance as distance
from . import distinct as distinct
from . import einsum as einsum
from . import extrema as extrema
from . import factor as factor
from . import gamma as gamma
from . import grid as grid
from . import group_norm as group_norm
from . import index as index
from . import join as join
from . import loss as loss
from . import mask as mask
from . import math as math
from . import matmul as matmul
from . import matrix as matrix
from . import norm as norm
from . import pad as pad
from . import pool as pool
from . import power as power
from . import products as products
from . import quantile as quantile
from . import random as random
from . import rearrange as rearrange
from . import recurrent as recurrent
from . import reduce as reduce
from . import resample as resample
from . import scan as scan
from . import scatter as scatter
from . import search as search
from . import similarity as similarity
from . import softmax as softmax
from . import solve as solve
from . import spatial as spatial
from . import statistics as statistics
from . import subscript as subscript
from . import unpool as unpool
from . import update as update
from . import update_rules as update_rules
from . import view as view
from .arithmetic import add
from .copy import clone

autograd.add, autograd.add_, autograd.clone = add, add.op.inplace_entry, clone
install()
