# Shared directories. The host tells a machine when it boots which ones it has and where
# they belong (fstab.extra, which systemd reads since 254), so that a new one needs no new
# image. What the system must bring are the file systems.
{
  boot.initrd.availableKernelModules = [ "virtiofs" "9p" "9pnet_virtio" ];
}
