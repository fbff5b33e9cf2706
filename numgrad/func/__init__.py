"""Functions of functions, as ``torch.func``: gradients, vector products, Jacobians, and maps over batches."""

from ..nn.functional_call import functional_call as functional_call
from .jacobians import hessian as hessian, jacfwd as jacfwd, jacrev as jacrev
from .mapping import (
    replace_all_batch_norm_modules_ as replace_all_batch_norm_modules_,
    stack_module_state as stack_module_state,
    vmap as vmap,
)
from .transforms import (
    grad as grad,
    grad_and_value as grad_and_value,
    jvp as jvp,
    linearize as linearize,
    vjp as vjp,
)
