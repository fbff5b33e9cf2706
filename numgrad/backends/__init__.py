"""What PyTorch's backends are to numgrad, as ``torch.backends``: flags that scripts set, and what there is."""

from . import cuda as cuda
from . import cudnn as cudnn
from . import mkl as mkl
from . import mkldnn as mkldnn
from . import mps as mps
from . import openmp as openmp
