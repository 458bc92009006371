variable "name" {
  description = "Opens the names of load balancers, roles and security groups."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9]([a-zA-Z0-9-]{0,22}[a-zA-Z0-9])?$", var.name)) && !strcontains(var.name, "--") && !startswith(var.name, "internal-")
    error_message = "Give 1 to 24 letters, digits and single hyphens, not beginning with internal-: load balancers have names of at most 32."
  }
}

variable "ledger" {
  description = "The id of the portlease installation: the UID of namespace kube-system, a slash, and the allocator's namespace. `allocator check` prints it."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f-]{36}/[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.ledger))
    error_message = "It is of the form 00000000-0000-0000-0000-000000000000/portlease."
  }
}

variable "pool" {
  description = "Name of the pool that the load balancers are for."
  type        = string
  default     = "default"
}

variable "load_balancers" {
  description = "How many load balancers there are. Each has at most 50 listeners, and AWS does not raise that."
  type        = number
  default     = 1

  validation {
    condition     = var.load_balancers >= 1 && var.load_balancers <= 50
    error_message = "Give 1 to 50; a region has 50 network load balancers unless AWS raised that."
  }
}

variable "vpc_id" {
  description = "VPC of the load balancers and the pods."
  type        = string
}

variable "subnet_ids" {
  description = "One subnet for each zone, public ones unless internal."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0 && length(distinct(var.subnet_ids)) == length(var.subnet_ids)
    error_message = "Give each zone's subnet once, and at least one."
  }
}

variable "internal" {
  description = "Whether players come from inside the VPC only."
  type        = bool
  default     = false
}

variable "elastic_ips" {
  description = "Whether each load balancer gets an Elastic IP in each subnet, so that its addresses never change and are announced beside its name."
  type        = bool
  default     = false

  validation {
    condition     = !(var.elastic_ips && var.internal)
    error_message = "Internal load balancers cannot have Elastic IPs."
  }
}

variable "listener_ports" {
  description = "What players dial, for every load balancer the same."
  type        = list(object({ from = number, to = number }))
  default     = [{ from = 30000, to = 30049 }]

  validation {
    condition     = length(var.listener_ports) > 0 && alltrue([for r in var.listener_ports : 1 <= r.from && r.from <= r.to && r.to <= 65535])
    error_message = "Give ranges with 1 <= from <= to <= 65535."
  }
}

variable "protocols" {
  description = "What players speak."
  type        = set(string)
  default     = ["tcp", "udp"]

  validation {
    condition     = length(var.protocols) > 0 && length(setsubtract(var.protocols, ["tcp", "udp"])) == 0
    error_message = "Give tcp, udp or both."
  }
}

variable "player_cidrs" {
  description = "Where players come from."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "target_ports" {
  description = "What games listen on in their pods."
  type        = list(object({ from = number, to = number }))
  default     = [{ from = 1024, to = 65535 }]
}

variable "health_port" {
  description = "What agents answer health checks on, PORTLEASE_HTTP_ADDRESS."
  type        = number
  default     = 9901
}

variable "pod_security_group_ids" {
  description = "Security groups of the pods or their nodes, by a name of your own; each gets rules that let the load balancers in. Without any, these rules are yours to make, and load balancers may reach the whole VPC."
  type        = map(string)
  default     = {}
}

variable "identity" {
  description = "How pods get their roles: pod-identity, irsa, or none to make no roles."
  type        = string
  default     = "pod-identity"

  validation {
    condition     = contains(["pod-identity", "irsa", "none"], var.identity)
    error_message = "Choose pod-identity, irsa or none."
  }
}

variable "cluster" {
  description = "Name of the EKS cluster; for identity pod-identity."
  type        = string
  default     = ""
}

variable "oidc_provider" {
  description = "The cluster's OIDC issuer without https://; for identity irsa."
  type        = string
  default     = ""
}

variable "games" {
  description = "Where game servers run, by a name of your own."
  type        = map(object({ namespace = string, service_account = string }))
  default     = { games = { namespace = "games", service_account = "game" } }
}

variable "allocator_service_account" {
  description = "Service account of the allocator, in the namespace that the ledger's id ends in."
  type        = string
  default     = "portlease-allocator"
}

variable "tags" {
  description = "More tags on everything."
  type        = map(string)
  default     = {}
}
