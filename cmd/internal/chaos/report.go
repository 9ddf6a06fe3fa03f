package chaos

import "sync"

// Results are the figures of the faults of a run, in their order.
type Results struct {
	mu   sync.Mutex // guards what follows
	list []Result
}

// Result is what a fault has cost.
type Result struct {
	Name, Text string
	Two        bool // two faults at once
	Figures
}

// Add notes a result.
func (r *Results) Add(result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, result)
}
