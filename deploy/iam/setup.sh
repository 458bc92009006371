#!/usr/bin/env bash
# Creates the AWS roles of the allocator and the agents of one EKS cluster, with EKS
# Pod Identity or IRSA, and tags load balancers for them.
#
# It prints every aws command before it runs it. Without --apply it runs only
# commands that read. Running it again changes only what differs.
set -euo pipefail

usage() {
  cat <<'USAGE'
setup.sh --cluster NAME [options]

  --cluster NAME            the EKS cluster (required)
  --apply                   make the changes; without it, only print them
  --undo                    remove the roles and tags again (needs --apply, too)
  --identity KIND           pod-identity (default) or irsa
  --namespace NAMESPACE     namespace of the allocator (default portlease)
  --service-account NAME    service account of the allocator (default
                            portlease-allocator)
  --games NAMESPACE:NAME    namespace and service account of game servers;
                            repeatable (default games:game)
  --load-balancer ARN       a load balancer to tag for this installation; repeatable
  --ledger ID               ledger id of the installation (default: kubectl reads
                            it from the cluster)
  --source-vpc VPC          deny the roles every call that does not come from this VPC;
                            it needs an endpoint for elasticloadbalancing: docs/iam.md
  --name NAME               prefix of the role names (default portlease-CLUSTER)

Needs the AWS CLI with rights for iam, eks and elasticloadbalancing, in the region
of the cluster.
USAGE
}

fail() {
  echo "setup.sh: $*" >&2
  exit 1
}

cluster="" apply="" undo="" identity=pod-identity namespace=portlease service_account=portlease-allocator
ledger="" source_vpc="" name="" games=() load_balancers=()
while [ $# -gt 0 ]; do
  case "$1" in
    --apply) apply=yes ;;
    --undo) undo=yes ;;
    --help | -h)
      usage
      exit 0
      ;;
    --cluster | --identity | --namespace | --service-account | --games | --load-balancer | --ledger | --source-vpc | --name)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case "$1" in
        --cluster) cluster=$2 ;;
        --identity) identity=$2 ;;
        --namespace) namespace=$2 ;;
        --service-account) service_account=$2 ;;
        --games) games+=("$2") ;;
        --load-balancer) load_balancers+=("$2") ;;
        --ledger) ledger=$2 ;;
        --source-vpc) source_vpc=$2 ;;
        --name) name=$2 ;;
      esac
      shift
      ;;
    *) fail "unknown option $1; see --help" ;;
  esac
  shift
done
[ ${#games[@]} -gt 0 ] || games=(games:game)

# Everything that goes into policies and commands must match one of these patterns.
label='[a-z0-9]([a-z0-9-]*[a-z0-9])?'
subdomain='[a-z0-9]([a-z0-9.-]*[a-z0-9])?'
check() { # name, value, pattern
  [[ "$2" =~ ^$3$ ]] || fail "$1 is \"$2\", which does not match $3; see --help"
}
check --cluster "$cluster" '[A-Za-z0-9][A-Za-z0-9_-]*'
check --identity "$identity" '(pod-identity|irsa)'
check --namespace "$namespace" "$label"
check --service-account "$service_account" "$subdomain"
name=${name:-portlease-$cluster}
check --name "$name" '[A-Za-z0-9_-]+'
[ -z "$source_vpc" ] || check --source-vpc "$source_vpc" 'vpc-[0-9a-f]+'
for game in "${games[@]}"; do check --games "$game" "$label:$subdomain"; done
for arn in ${load_balancers[@]+"${load_balancers[@]}"}; do
  check --load-balancer "$arn" 'arn:[a-z-]+:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:loadbalancer/net/[A-Za-z0-9-]+/[0-9a-f]{16}'
done

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# show prints a command so that it can be pasted into a shell.
show() {
  local word line=""
  for word in "$@"; do
    if [[ "$word" =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then
      line+=" $word"
    else
      line+=" '${word//\'/\'\\\'\'}'"
    fi
  done
  echo "$line" >&2
}

# query runs a command that only reads, and prints its output.
query() {
  show "$@"
  "$@" || fail "the command above failed"
}

# change runs a command that changes something if --apply is given, and otherwise
# only prints it.
change() {
  if [ -z "$apply" ]; then
    echo " (not run without --apply):" >&2
  fi
  show "$@"
  if [ -n "$apply" ]; then
    "$@" >/dev/null || fail "the command above failed"
  fi
}

# exists runs a command that reads one thing, and is false if that does not exist.
# Any other failure ends the script: it does not mean absence.
exists() { # error code of absence, command…
  local code=$1 answer
  shift
  show "$@"
  if answer=$("$@" 2>&1); then return 0; fi
  case "$answer" in
    *"($code)"*) return 1 ;;
  esac
  fail "the command above failed: $answer"
}

account=$(query aws sts get-caller-identity --query Account --output text)
cluster_arn=$(query aws eks describe-cluster --name "$cluster" --query cluster.arn --output text)
issuer=$(query aws eks describe-cluster --name "$cluster" --query cluster.identity.oidc.issuer --output text)
issuer=${issuer#https://}
check account "$account" '[0-9]{12}'
check "the cluster's ARN" "$cluster_arn" 'arn:[a-z-]+:eks:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+'
check "the cluster's issuer" "$issuer" '[A-Za-z0-9./-]+'
IFS=: read -r _ partition _ region cluster_account _ <<<"$cluster_arn"
[ "$account" = "$cluster_account" ] || fail "the credentials belong to account $account, but the cluster is in $cluster_account"
if [ -z "$ledger" ]; then
  ledger=$(query kubectl get namespace kube-system -o 'jsonpath={.metadata.uid}')/$namespace
fi
check --ledger "$ledger" "[0-9a-f-]{36}/$label"
echo "ledger $ledger" >&2

# fill prints a file of this folder on one line, with its placeholders replaced.
fill() { # file, namespace, service account
  sed -e "s|<partition>|$partition|g" -e "s|<region>|$region|g" -e "s|<account>|$account|g" -e "s|<ledger>|$ledger|g" \
    -e "s|<vpc>|$source_vpc|g" -e "s|<cluster>|$cluster|g" -e "s|<issuer>|$issuer|g" -e "s|<namespace>|$2|g" -e "s|<service-account>|$3|g" "$folder/$1" | tr -d '\n' | tr -s ' '
}

association() { # namespace, service account; prints the id, or None
  query aws eks list-pod-identity-associations --cluster-name "$cluster" --namespace "$1" --service-account "$2" \
    --query 'associations[0].associationId' --output text
}

# without_policy deletes a policy of a role, if the role has it.
without_policy() { # role, name of the policy
  if exists NoSuchEntity aws iam get-role-policy --role-name "$1" --policy-name "$2"; then
    change aws iam delete-role-policy --role-name "$1" --policy-name "$2"
  fi
}

grant() { # role, policy, namespace, service account
  local role=$1 trust policy arn id
  [ ${#role} -le 64 ] || fail "role name $role has more than 64 characters: use a shorter --name"
  arn="arn:$partition:iam::$account:role/$role"
  trust=$(fill "trust-$identity.json" "$3" "$4")
  policy=$(fill "$2" "$3" "$4")
  if exists NoSuchEntity aws iam get-role --role-name "$role"; then
    change aws iam update-assume-role-policy --role-name "$role" --policy-document "$trust"
  else
    change aws iam create-role --role-name "$role" --description "portlease: $3/$4" --assume-role-policy-document "$trust"
  fi
  change aws iam put-role-policy --role-name "$role" --policy-name portlease --policy-document "$policy"
  if [ -n "$source_vpc" ]; then
    policy=$(fill source-vpc.json "$3" "$4")
    change aws iam put-role-policy --role-name "$role" --policy-name portlease-source-vpc --policy-document "$policy"
  else
    without_policy "$role" portlease-source-vpc
  fi
  if [ "$identity" = irsa ]; then
    echo " now annotate service account $3/$4 with eks.amazonaws.com/role-arn=$arn" >&2
    return
  fi
  id=$(association "$3" "$4")
  if [ "$id" = None ]; then
    change aws eks create-pod-identity-association --cluster-name "$cluster" --namespace "$3" --service-account "$4" --role-arn "$arn"
  else
    change aws eks update-pod-identity-association --cluster-name "$cluster" --association-id "$id" --role-arn "$arn"
  fi
}

revoke() { # role, policy, namespace, service account
  local role=$1 id used
  if [ "$identity" = pod-identity ]; then
    id=$(association "$3" "$4")
    if [ "$id" != None ]; then
      used=$(query aws eks describe-pod-identity-association --cluster-name "$cluster" --association-id "$id" --query association.roleArn --output text)
      if [ "$used" = "arn:$partition:iam::$account:role/$role" ]; then
        change aws eks delete-pod-identity-association --cluster-name "$cluster" --association-id "$id"
      else
        echo " the association of $3/$4 uses another role, $used: not deleted" >&2
      fi
    fi
  fi
  if exists NoSuchEntity aws iam get-role --role-name "$role"; then
    without_policy "$role" portlease
    without_policy "$role" portlease-source-vpc
    change aws iam delete-role --role-name "$role"
  fi
}

for_each_role() { # grant or revoke
  "$1" "$name-allocator" janitor.json "$namespace" "$service_account"
  local game
  for game in "${games[@]}"; do
    "$1" "$name-agent-${game%%:*}-${game#*:}" "agent-$identity.json" "${game%%:*}" "${game#*:}"
  done
}

if [ -n "$undo" ]; then
  for_each_role revoke
  if [ ${#load_balancers[@]} -gt 0 ]; then
    change aws elbv2 remove-tags --resource-arns "${load_balancers[@]}" --tag-keys portlease.dev/ledger
  fi
else
  if [ "$identity" = pod-identity ]; then
    if ! exists ResourceNotFoundException aws eks describe-addon --cluster-name "$cluster" --addon-name eks-pod-identity-agent; then
      echo " the cluster lacks the add-on eks-pod-identity-agent: install it, or pods get no credentials" >&2
    fi
  elif ! exists NoSuchEntity aws iam get-open-id-connect-provider --open-id-connect-provider-arn "arn:$partition:iam::$account:oidc-provider/$issuer"; then
    change aws iam create-open-id-connect-provider --url "https://$issuer" --client-id-list sts.amazonaws.com
  fi
  for_each_role grant
  if [ ${#load_balancers[@]} -gt 0 ]; then
    change aws elbv2 add-tags --resource-arns "${load_balancers[@]}" --tags "Key=portlease.dev/ledger,Value=$ledger"
  fi
fi
if [ -z "$apply" ]; then echo "nothing was changed: to make the changes, run it again with --apply" >&2; fi
