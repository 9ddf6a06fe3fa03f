package bench

import (
	"fmt"
	"sync"
)

const keptSamples = 10

// violations counts broken promises and keeps the first few in words.
type violations struct {
	mu      sync.Mutex // guards what follows; held for a moment only
	n       int64
	samples []string
}

func (v *violations) add(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n++
	if len(v.samples) < keptSamples {
		v.samples = append(v.samples, fmt.Sprintf(format, args...))
	}
}

func (v *violations) findings() Findings {
	v.mu.Lock()
	defer v.mu.Unlock()
	return Findings{Violations: v.n, Samples: v.samples}
}
