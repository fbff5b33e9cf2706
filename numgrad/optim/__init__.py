"""Optimizers and learning-rate schedulers."""

from . import lr_scheduler as lr_scheduler
from .adagrad import Adagrad as Adagrad
from .adam import Adam as Adam
from .adamw import AdamW as AdamW
from .optimizer import Optimizer as Optimizer
from .optimizer import register_optimizer_step_post_hook as register_optimizer_step_post_hook
from .optimizer import register_optimizer_step_pre_hook as register_optimizer_step_pre_hook
from .pointwise import PointwiseOptimizer as PointwiseOptimizer
from .rmsprop import RMSprop as RMSprop
from .sgd import SGD as SGD
