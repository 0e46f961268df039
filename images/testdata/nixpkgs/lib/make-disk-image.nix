{ config, lib, pkgs, diskSize, format, partitionTableType, copyChannel }:
{ inherit diskSize format partitionTableType copyChannel; }
