"""jaxlab beside its peers; takes the options of `jaxlab bench` (see --help).

What was tried to make it fast, on two CPU cores (AMD EPYC, jax 0.10), and what it gave. Ratios are
of times, in one run, after to before; kept where nothing else is said.

    the pass (backprop.py)
      δ(L) divided by m, not every δ                                        0.85 at 784-1000-10 with
                                                                            20 examples, 0.9 at
                                                                            784-64-784, else 1.0:
                                                                            not kept, it hides the
                                                                            lab sheet's 1/m
      one example a column, as on the lab sheet (Intel, AVX-512)            0.55 to 1.0 in float64,
                                                                            0.7 to 1.1 a call in
                                                                            float32, 1.0 to 1.3 in a
                                                                            loop: not kept
      δᵀ as an array of its own in float64 (Intel, AVX-512)                 0.65 to 0.9; the product
                                                                            alone 0.3 to 0.8, or 1.5
                                                                            of 6,000 × 784 outputs:
                                                                            below a million numbers
                                                                            (EPYC: 0.76 to 1.1)
      the same in float32 (Intel)                                           0.65 to 0.9 a call to 32
                                                                            units, in a loop 1.0;
                                                                            0.6 to 1.3 above: not
                                                                            kept there
      calls done in place (jax_cpu_enable_async_dispatch off)               0.35 at 8-5-10, 0.65 at
                                                                            784-25-10, 0.9 at
                                                                            784-1000-10; training 1
      a name of `jaxlab` looked up once, not at each use                    0.88 at 8-5-10
      one core alone (taskset): the second is woken for each product        0.6 to 1.0 at 784-25-10:
                                                                            not to be had, as below
      without YNNPACK, and that without threads                             0.9 to 1.3: not kept
      δ as (Wᵀ δᵀ)ᵀ                                                         0.95 to 1.15: not kept
      6,000 examples in blocks that stay in the cache (Intel)               0.65 at 784-64-784 in
                                                                            float32, else 0.9 to 1.8
                                                                            (not kept)
    mini-batches (optimize.py)
      gathering each batch where it is used, not the whole epoch at once    0.8 at 25 hidden units,
                                                                            0.9 at 100, 1.0 at 500
      examples put on the device once, not with every epoch's call          0.8 at 25 hidden units
      unrolling the loop over batches 2 or 4 times                          1.0: not kept
      other XLA schedulers, vector widths, oneDNN, XNNPACK                  1.0: not kept
      XLA's preset for speed, multi-output fusion, tiling, no unrolling     1.0: not kept
      XLA's products without YNNPACK (Intel, AVX-512)                       0.9 at 25 hidden units,
                                                                            1.0 above, 1.1 in the
                                                                            autoencoder: not kept
      vectors of 512 bits (Intel, AVX-512)                                  0.9 to 1.03: not kept
      a product as two halves, for two cores to share                       1.0 to 3: not kept
      one core alone (Intel): so little does the second give here           0.7 at 25 hidden units,
                                                                            1.0 at 100, 1.5 at 500
      two trainings at once, in threads (Intel)                             0.4 at 25 hidden units,
                                                                            0.65 from 100 on; all of
                                                                            exercises 2, 4, 6 0.6 to
                                                                            0.75
      each batch divided among two devices, one a core (Intel)              2.8 at 25 hidden units,
                                                                            2 at 100, 1.35 at 500,
                                                                            0.9 with 6,000 examples:
                                                                            not kept
      hidden units divided among two devices, by XLA (Intel)                0.85 to 1.15: not kept
    a sweep over sizes (sweep.py)
      ten networks of 4 to 300 units as one wide network                    0.6 to 0.8
      the same in two or three groups of like sizes                         0.7: not kept
      `jax.vmap` over networks of one size                                  3: not kept
      the wide networks of two seeds at once, in threads (Intel)            0.75 to 0.85
      the same, each in two or three groups                                 0.93 of that: not kept
    the gradient check (gradcheck/)
      two directions, not eight, where jax.grad has every coordinate        0.5
      one, of all blocks in one call, the Taylor remainder's costs in it,
      and nothing traced twice                                              0.35 to 0.45
      norms and inner products summed here, not by BLAS's threads           0.33 beside another
                                                                            busy process
      the complex step in a thread beside the differences                   0.85; compiling 1.0:
                                                                            not kept
      chunks that stay in the cache (5 MB), not 16 MB                       0.87
      two compiled calls at a time                                          0.9
      one product of all perturbed weights, by rewriting the jaxpr          0.95: not kept
      z as (W aᵀ)ᵀ, not a Wᵀ: of many W at once none is transposed          0.63, every coordinate;
                                                                            1.0 the default check
      J at all offsets in one go, not J written out for each                compiling 0.6; the
                                                                            default check 0.9
      J and its gradient by jax.grad as one program                         compiling 0.9
      directions not copied, parameters joined in NumPy                     0.87, default check
      the function under test called twice, not three times                 0.95, default check
      XLA without optimisation                                              compiling 0.7, every
                                                                            coordinate 1.5: not kept
      the same and without fusion emitters                                  compiling 0.35, all that
                                                                            is computed 1.3 to 2.8:
                                                                            for a cost that is
                                                                            compiled for one check
      perturbing copies of the parameters in place                          1.1 to 1.5: not kept
      examples repeated for a batched product                               1.6: not kept
      the two programs of the default check on one core (taskset)           0.7; a program cannot be
                                                                            told so: not to be had
    the convolutional network (convnet/)
      examples as the last axis, Winograd's algorithm for 3 × 3 kernels     see convolution.py
      changed images: positions by a product of matrices, the four pixels
      around each in one gather (Intel)                                     0.35, a step 0.85 small
      each batch divided among two devices, one a core (Intel)              0.68 to 0.78
      the gradients as one vector, for which these devices wait once        0.85 small and middle,
                                                                            0.95 largest
      four devices on two cores (Intel)                                     1.1 to 1.25: not kept
      Winograd's transforms of products and of gradients as one product     0.9 to 0.97; compiling
      each, not written out (Intel)                                         0.75
      the transform of the input so as well, its tiles first copied apart   1.05; compiling 1.25 to
                                                                            2: not kept
      batch normalisation as one scale and one shift a channel (Intel)      0.93 to 0.96
      Winograd's elements row by row in a loop, each row in the cache       1.13 to 1.3: not kept
      the transform of the input along one axis as a banded product         1.02 to 1.06: not kept
      36 transformed inputs, each written out: they stay in the cache       0.94 to 0.98; compiling
                                                                            1.5: not kept
      the backward pass of pooling without stacking                         1.0 to 1.08: not kept
      operands of products in bfloat16 (Intel, AMX)                         0.75 to 0.85: not kept,
                                                                            it is not float32
      three such products in place of one, to keep 16 bits                  those alone 2 to 12:
                                                                            not kept
      XLA's products without YNNPACK (Intel, AVX-512)                       1.16 small, 1.0, 0.92
                                                                            largest: not kept
      the same (EPYC)                                                       1.1 small, 1.0, 0.96
                                                                            largest: not kept
      products over few channels as sums, no products                       those alone 0.65 to 0.8,
                                                                            a step 1.0: not kept
      a row of tiles at a time, transformed anew going back                 0.93 to 1.0: not kept
      tiles filled up, so that rows lie apart in the cache                  those alone 0.4 to 0.9,
                                                                            a step 1.2: not kept
      evaluation 100 images at a time on each core, not 500                 0.6 largest; compiling
                                                                            0.94, which tries it
      compiling: Newton-Schulz steps of Muon as a loop, not unrolled        1.0: not kept
      compiling: the pixels under a 5 × 5 kernel stacked axis by axis       0.85
      compiling: transforms of 6 × 6 images as one product each             0.86 largest
      compiling: random changes drawn by NumPy, not in the program          0.98: not kept
      compiling: scales, shifts and biases as one vector for Adam           0.95 largest
      compiling: training and evaluation at once                            0.88 to 1.04: not kept
      compiling: XLA's lower levels of optimisation                         0.85, a step 1.1:
                                                                            not kept
      compiling: without XLA's fusion emitters                              0.7, a step 1.2:
                                                                            not kept
      compiling: Winograd's sums over all terms, zeros too                  0.6, a step 2.4:
                                                                            not kept
      compiling: XLA's preset for it, its code in 1 to 8 parts, not 32      1.0: not kept
    the same on a GPU (NVIDIA H100, jax 0.11)
      XLA's own convolution in place of Winograd's                          0.96 small, 0.68 large
      the first convolution by XLA's as well                                1.19 small, 1.05 large:
                                                                            not kept
      operands of convolutions in bfloat16                                  0.92 small, 0.95 large:
                                                                            not kept
      products with all digits of float32 (Winograd's), not TF32            1.10 small, 1.13 large:
                                                                            not kept
    whole commands (`jaxlab ex1`)
      decades of axes in plain characters, a figure's layout found once     0.79
      optax and the names of mistakes imported where they are needed        0.82
      no search for garbage when Python ends                                0.84 to 0.94
      nor while modules are imported                                        0.89
      a figure's layout found and drawn once, not for each format           0.45 of its figures
    whole commands (`jaxlab ex7`)
      small images as one picture, not each in axes of its own              0.2 of its figures, a
                                                                            third of all before
      random weights of all shapes from one compiled draw                   0.5, creating a network
      mean and deviation of all pixels by some hundred images               0.08 of that, 0.7 s

Beside others: OpenMP's and OpenBLAS's threads wait busily for a while after their work, so each
contender starts after a pause; without it jaxlab's fit took up to 1.6 times as long after
scikit-learn's.
"""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
