package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"hearth/domain"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	sent     *prometheus.CounterVec
	sending  prometheus.Histogram

	uploadsLimited prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_http_requests_total",
			Help: "HTTP requests answered, by route pattern, method and status.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hearth_http_request_duration_seconds",
			Help:    "Time from a request's head to the end of its answer, by route pattern.",
			Buckets: prometheus.DefBuckets,
		}, []string{"route"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{ // transport has the source ws, with the same words
			Name: "hearth_messages_sent_total", Help: "Sends answered, by result: ok or the error code.",
			ConstLabels: prometheus.Labels{"source": "http"},
		}, []string{"result"}),
		sending: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hearth_send_duration_seconds", Help: "From a send's frame to its answer.",
			ConstLabels: prometheus.Labels{"source": "http"}, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		uploadsLimited: prometheus.NewCounter(prometheus.CounterOpts{ // transport and redisrepo have other scopes, with the same words
			Name: "hearth_rate_limited_total", Help: "Requests refused for a limit, by whose or what it is.",
			ConstLabels: prometheus.Labels{"scope": "upload"},
		}),
	}
	if reg == nil {
		return m, nil
	}
	if err := errors.Join(reg.Register(m.requests), reg.Register(m.duration), reg.Register(m.sent), reg.Register(m.sending), reg.Register(m.uploadsLimited)); err != nil {
		return nil, fmt.Errorf("httpapi: register metrics: %w", err)
	}
	return m, nil
}

func (m *metrics) sendDone(started time.Time, err error) {
	m.sending.Observe(time.Since(started).Seconds())
	result := "ok"
	if err != nil {
		result = string(domain.CodeOf(err))
	}
	m.sent.WithLabelValues(result).Inc()
}

// observe counts and logs requests by their route's pattern: no paths, queries or bodies, which hold ids and text.
func (a *api) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		recorded := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(recorded, r)

		took := time.Since(start)
		route, method, status := routeOf(r), methodOf(r), max(recorded.Status(), http.StatusOK)
		a.metrics.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
		a.metrics.duration.WithLabelValues(route).Observe(took.Seconds())
		a.Log.Debug().Str("route", route).Str("method", method).Int("status", status).Dur("took_ms", took).Msg("http request")
	})
}

// routeOf is the pattern that matched, or "unmatched": labels come from a closed set.
func routeOf(r *http.Request) string {
	pattern := chi.RouteContext(r.Context()).RoutePattern()
	if pattern == "" || strings.HasSuffix(pattern, "*") {
		return "unmatched"
	}
	return pattern
}

var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

func methodOf(r *http.Request) string {
	if slices.Contains(knownMethods, r.Method) {
		return r.Method
	}
	return "other"
}

// recoverPanics answers 500 to what went wrong in a way nobody foresaw.
func (a *api) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			a.Log.Error().Str("route", routeOf(r)).Any("panic", p).Bytes("stack", debug.Stack()).Msg("http handler panicked")
			if ww, ok := w.(middleware.WrapResponseWriter); ok && ww.Status() != 0 {
				panic(http.ErrAbortHandler) // half an answer is out: cut it off, do not let it look whole
			}
			WriteError(w, domain.Errorf(domain.CodeInternal, "something went wrong here, try again"))
		}()
		next.ServeHTTP(w, r)
	})
}
