{ boot.initrd.availableKernelModules = [ "virtio_blk" ]; }
