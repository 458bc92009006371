package hostile

// rounds are all cases. To add one, write a function that begins it, and enter it here.
func rounds() []round {
	return []round{
		{
			{"publish an address of the VPC under generation 999", publishNewerGeneration},
			{"publish an address of the VPC under malformed tags", publishMalformedTags},
			{"open a second listener with the tags of the own holding", publishSecondListener},
		},
		{{"fill a load balancer with listeners", fillLoadBalancer}},
	}
}
