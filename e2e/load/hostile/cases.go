package hostile

// rounds are all cases. To add one, write a function that begins it, and enter it here.
func rounds() []round {
	return []round{
		{attacks: []attack{
			{"publish an address of the VPC under generation 999", publishNewerGeneration},
			{"publish an address of the VPC under malformed tags", publishMalformedTags},
			{"open a second listener with the tags of the own holding", publishSecondListener},
		}},
		{attacks: []attack{{"fill a load balancer with listeners", fillLoadBalancer}}},
		{attacks: []attack{
			{"mark another pod as Failed with a token that is bound to no pod", forgePhase},
			{"break an operator that may patch pods elsewhere", operatorPatches},
			{"adopt a port of a pool that is closed to the namespace", adoptInClosedPool},
			{"adopt a port that an admin has blocked", adoptBlockedPort},
			{"adopt a port in its cooldown", adoptInCooldown},
			{"claim 20 ports for one pod", claimManyPorts},
			{"claim with an IPv6 address", claimIPv6},
			{"add a CA to the allocator's ConfigMap", poisonTrust},
		}},
		{attacks: []attack{{"ask for readiness on 1,500 connections", askForReadiness}}},
		{attacks: []attack{{"spell tokens in other ways", spellTokens}}},
		{attacks: []attack{{"send slow bodies on 330 connections to each replica", sendSlowBodies}}},
		{attacks: []attack{{"report throttled calls without a claim", reportThrottling}}},
		{attacks: []attack{{"report every granted call as throttled", holdThrottled}}},
		{attacks: []attack{{"deploy 120 pods that AWS denies everything", deployDenied}}},
		{attacks: []attack{{"deploy 20 pods without AWS credentials", deployWithoutCredentials}}},
		{attacks: []attack{{"reuse the address of a pod whose listener cannot be deleted", reuseAddress}}},
		{attacks: []attack{{"let AWS hang for the allocator", hangAWS}}},
		{attacks: []attack{{"stop pods while AWS does not know their target groups", stopYoungPods}}, lag: groupLag},
	}
}
