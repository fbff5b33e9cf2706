"""What PyTorch's backends are to numgrad, as ``torch.backends``: flags that scripts set, and what there is."""

from . import cuda as cuda, cudnn as cudnn, mkl as mkl, mkldnn as mkldnn, mps as mps, openmp as openmp
