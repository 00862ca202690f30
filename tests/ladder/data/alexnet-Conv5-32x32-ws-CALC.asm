# accelsim exec alexnet-Conv5-32x32-ws-CALC.asm --arch mid --set array.rows=32 --set array.cols=32 --set array.dataflow=ws --set array.overlap=none --set ub.size=421632 --set wgt.size=110592 --set acc.size=15488 --set param.size=256 --timing-only --json -
gemm overwrite k=32 n=32 r0=108 xr0=32 m0=121 xm0=3456 am0=1
gemm overwrite k=32 n=32 r0=108 xr0=32 m0=121 xm0=3456 am0=1
gemm overwrite k=32 n=32 r0=108 xr0=32 m0=121 xm0=3456 am0=1
gemm overwrite k=32 n=32 r0=108 xr0=32 m0=121 xm0=3456 am0=1
gemm overwrite k=32 n=32 r0=108 xr0=32 m0=121 xm0=3456 am0=1
gemm overwrite k=32 n=32 r0=108 xr0=32 m0=121 xm0=3456 am0=1
gemm overwrite k=32 n=32 r0=108 xr0=32 m0=121 xm0=3456 am0=1
gemm overwrite k=32 n=32 r0=108 xr0=32 m0=121 xm0=3456 am0=1
halt on=gemm
