"""What runs jobs: enqueue, claim, attempt, finish, schedule. Knows the domain and the ports, no driver."""
