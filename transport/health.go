package transport

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/domain"
)

const (
	checkInterval = time.Second
	checkTimeout  = 2 * time.Second
	checkGrace    = 3 * time.Second // how long a check may fail before it counts
)

// Check is one condition of readiness.
type Check struct {
	Name string
	Test func(ctx context.Context) error
	// Degrades: the instance goes on serving without it, worse.
	Degrades bool
	// AtOnce: a failure counts the moment it is seen, because the test has waited itself.
	AtOnce bool
}

// Health tests the checks all the time and answers from what it saw last.
type Health struct {
	checks   []Check
	gauge    *prometheus.GaugeVec
	draining prometheus.Gauge

	leaving atomic.Bool
	mu      sync.Mutex // guards results
	results []checkResult
}

type checkResult struct {
	ok   time.Time // last success
	took time.Duration
	err  error
}

// NewHealth makes it; until Run has tested, nothing is ready.
func NewHealth(reg prometheus.Registerer, checks ...Check) *Health {
	h := &Health{
		checks: checks, results: make([]checkResult, len(checks)),
		gauge:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hearth_ready", Help: "1 where a check of /readyz is met."}, []string{"check"}),
		draining: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hearth_draining", Help: "1 while the instance is leaving."}),
	}
	reg.MustRegister(h.gauge, h.draining)
	return h
}

// Leave makes the instance unready for good.
func (h *Health) Leave() {
	h.leaving.Store(true)
	h.draining.Set(1)
}

// IsLeaving tells whether Leave was called.
func (h *Health) IsLeaving() bool { return h.leaving.Load() }

// IsReady tells whether /readyz says so.
func (h *Health) IsReady() bool { return h.view(time.Now()).Ready }

// CheckNow is what a check was last: met or not, when it was met (zero: never), and what is to be said about it.
func (h *Health) CheckNow(name string) (ok bool, met time.Time, detail string) {
	now := time.Now()
	v, known := h.view(now).Checks[name]
	if known && v.AgeMS >= 0 {
		met = now.Add(-time.Duration(v.AgeMS) * time.Millisecond)
	}
	return v.OK, met, v.Detail
}

// Run tests until ctx is done.
func (h *Health) Run(ctx context.Context) error {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		h.testAll(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (h *Health) testAll(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range h.checks {
		wg.Go(func() { h.test(ctx, i) })
	}
	wg.Wait()
}

func (h *Health) test(ctx context.Context, i int) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	start := time.Now()
	err := h.checks[i].Test(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &h.results[i]
	r.err, r.took = err, time.Since(start)
	ready := 0.0
	if err == nil {
		r.ok, ready = time.Now(), 1
	}
	h.gauge.WithLabelValues(h.checks[i].Name).Set(ready)
}

type checkView struct {
	OK     bool   `json:"ok"`
	AgeMS  int64  `json:"age_ms"` // since it was last met; -1: never
	Detail string `json:"detail"`
}

type healthView struct {
	Ready    bool                 `json:"ready"`
	Degraded bool                 `json:"degraded"`
	Checks   map[string]checkView `json:"checks"`
}

func (h *Health) view(now time.Time) healthView {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := healthView{Ready: !h.leaving.Load(), Checks: make(map[string]checkView, len(h.checks)+1)}
	if !v.Ready {
		v.Checks["draining"] = checkView{Detail: "the instance is shutting down"}
	}
	for i, c := range h.checks {
		r := h.results[i]
		view := checkView{OK: r.err == nil && !r.ok.IsZero(), AgeMS: -1, Detail: "answers in " + r.took.Round(time.Millisecond/10).String()}
		if !r.ok.IsZero() {
			view.AgeMS = now.Sub(r.ok).Milliseconds()
		}
		if !view.OK {
			view.Detail = detail(r.err)
		}
		switch failing := r.ok.IsZero() || now.Sub(r.ok) > checkGrace || c.AtOnce && r.err != nil; {
		case c.Degrades:
			v.Degraded = v.Degraded || !view.OK
		case failing:
			v.Ready = false
		}
		v.Checks[c.Name] = view
	}
	return v
}

// detail says why a check is not met. Only errors that are meant to be shown are.
func detail(err error) string {
	var e *domain.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return "does not answer"
}

// Ready answers /readyz: 200 or 503, and why.
func (h *Health) Ready(w http.ResponseWriter, _ *http.Request) {
	v := h.view(time.Now())
	w.Header().Set("Content-Type", "application/json")
	if !v.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(v) // the asker may be gone
}

// Alive answers /healthz: the process is up.
func (h *Health) Alive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"ok":true}` + "\n")) // the asker may be gone
}
