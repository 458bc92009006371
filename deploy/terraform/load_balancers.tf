locals {
  # The pool file selects load balancers by these tags, and deploy/iam requires the first.
  pool_tags = {
    "portlease.dev/ledger" = var.ledger
    "portlease.dev/pool"   = var.pool
  }

  # Numbered from 1; lowering load_balancers removes the last ones.
  names = toset([for n in range(var.load_balancers) : format("%s-%d", var.name, n + 1)])

  addresses = var.elastic_ips ? {
    for pair in setproduct(local.names, var.subnet_ids) : "${pair[0]} ${pair[1]}" => pair[0]
  } : {}
}

resource "aws_eip" "this" {
  for_each = local.addresses

  domain = "vpc"
  tags   = merge(var.tags, { Name = each.value })
}

resource "aws_lb" "this" {
  for_each = local.names

  name               = each.value
  load_balancer_type = "network"
  internal           = var.internal
  security_groups    = [aws_security_group.this.id]

  # Each pod is the only target of its target group. Without cross-zone load balancing,
  # AWS would take the other zones' addresses out of DNS.
  enable_cross_zone_load_balancing = true

  dynamic "subnet_mapping" {
    for_each = var.subnet_ids

    content {
      subnet_id     = subnet_mapping.value
      allocation_id = var.elastic_ips ? aws_eip.this["${each.value} ${subnet_mapping.value}"].allocation_id : null
    }
  }

  tags = merge(var.tags, local.pool_tags)
}
