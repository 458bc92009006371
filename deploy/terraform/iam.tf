data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  allocator_namespace = split("/", var.ledger)[1]

  # The roles, with their service accounts and policies.
  roles = var.identity == "none" ? {} : merge({
    allocator = { namespace = local.allocator_namespace, service_account = var.allocator_service_account, policy = "janitor.json" }
    }, {
    for name, game in var.games :
    "agent-${name}" => { namespace = game.namespace, service_account = game.service_account, policy = "agent-${var.identity}.json" }
  })

  # The files of deploy/iam are plain JSON for every tool. They cannot be Terraform
  # templates, because ${aws:PrincipalTag/…} in them is syntax of IAM.
  filled = {
    for name, role in local.roles : name => {
      for kind, file in { policy = role.policy, trust = "trust-${var.identity}.json" } :
      kind => replace(replace(replace(replace(replace(replace(replace(replace(
        file("${path.module}/../iam/${file}"),
        "<partition>", data.aws_partition.this.partition),
        "<region>", data.aws_region.this.id),
        "<account>", data.aws_caller_identity.this.account_id),
        "<ledger>", var.ledger),
        "<namespace>", role.namespace),
        "<service-account>", role.service_account),
        "<cluster>", var.cluster),
      "<issuer>", var.oidc_provider)
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name               = "${var.name}-${each.key}"
  description        = "portlease: ${each.value.namespace}/${each.value.service_account}"
  assume_role_policy = local.filled[each.key].trust
  tags               = var.tags

  lifecycle {
    precondition {
      condition     = var.identity != "pod-identity" || var.cluster != ""
      error_message = "With identity pod-identity, set cluster."
    }
    precondition {
      condition     = var.identity != "irsa" || (var.oidc_provider != "" && !startswith(var.oidc_provider, "https://"))
      error_message = "With identity irsa, set oidc_provider, without https://."
    }
  }
}

resource "aws_iam_role_policy" "this" {
  for_each = local.roles

  name   = "portlease"
  role   = aws_iam_role.this[each.key].id
  policy = local.filled[each.key].policy
}

resource "aws_iam_role_policy" "source_vpc" {
  for_each = var.source_vpc_id == "" ? {} : local.roles

  name   = "portlease-source-vpc"
  role   = aws_iam_role.this[each.key].id
  policy = replace(file("${path.module}/../iam/source-vpc.json"), "<vpc>", var.source_vpc_id)
}

# The cluster needs the add-on eks-pod-identity-agent.
resource "aws_eks_pod_identity_association" "this" {
  for_each = var.identity == "pod-identity" ? local.roles : {}

  cluster_name    = var.cluster
  namespace       = each.value.namespace
  service_account = each.value.service_account
  role_arn        = aws_iam_role.this[each.key].arn
  tags            = var.tags
}
