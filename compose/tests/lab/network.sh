#!/usr/bin/env bash
# The first process of the lab, in namespaces of its own: a bridge, and for each service a network namespace with its
# address. Arguments: SUBNET-BITS, then NAME=ADDRESS for each. Everything ends with it.
set -euo pipefail
bits=$1
shift
ip link set lo up
ip link add name lab type bridge
ip link set lab up
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
number=0
for place in "$@"; do
  name=${place%%=*} address=${place#*=} number=$((number + 1))
  ip netns add "$name"
  ip link add name "port$number" type veth peer name eth0 netns "$name"
  ip link set "port$number" master lab
  ip link set "port$number" up
  ip -n "$name" link set lo up
  ip -n "$name" address add "$address/$bits" dev eth0
  ip -n "$name" link set eth0 up
  # As in every container of Docker: low ports need no rights.
  ip netns exec "$name" sysctl -q -w net.ipv4.ip_unprivileged_port_start=0
done
echo ready
exec sleep infinity
