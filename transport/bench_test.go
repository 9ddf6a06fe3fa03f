package transport

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/transport/auth"
)

// sink is a socket whose writes cost nothing; what it reads ends with it.
type sink struct {
	net.Conn // nil: for what nobody calls
	written  *atomic.Int64
	once     sync.Once
	closed   chan struct{}
}

func (s *sink) Write(p []byte) (int, error)      { s.written.Add(1); return len(p), nil }
func (s *sink) Read([]byte) (int, error)         { <-s.closed; return 0, io.EOF }
func (s *sink) Close() error                     { s.once.Do(func() { close(s.closed) }); return nil }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// hijacked is a response that is taken over by a sink.
type hijacked struct {
	http.ResponseWriter
	sink *sink
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.sink, bufio.NewReadWriter(bufio.NewReader(h.sink), bufio.NewWriter(h.sink)), nil
}

// connectSinks connects a user of g n times and returns when all are subscribed; written counts the socket's writes.
func connectSinks(b *testing.B, f *fixture, n int) (written *atomic.Int64) {
	b.Helper()
	written = new(atomic.Int64)
	r := httptest.NewRequest(http.MethodGet, "/v1/ws", nil)
	r.Header = http.Header{
		"Authorization": {"Bearer " + tokenOf(b, "ann", time.Hour)}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	for range n {
		f.ServeHTTP(hijacked{httptest.NewRecorder(), &sink{written: written, closed: make(chan struct{})}}, r)
	}
	require.Eventually(b, func() bool { return written.Load() == int64(2*n) }, patience, time.Millisecond, "handshake and welcome")
	return written
}

// BenchmarkFanOut is one message to 1,000 connections, written to all sockets.
func BenchmarkFanOut(b *testing.B) {
	const n = 1000
	f := newFixture(b, nil)
	defer f.end()
	written := connectSinks(b, f, n)
	push := f.b.accept("g", 1)[0]
	goal := written.Load()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	for b.Loop() {
		f.Hub().Published(push)
		push.Seq++
		for goal += n; written.Load() < goal; {
			runtime.Gosched()
		}
	}
	runtime.ReadMemStats(&after)
	deliveries := float64(n) * float64(b.N)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/deliveries, "allocs/delivery")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
}

// BenchmarkHandOut is one message put into the queues of 1,000 connections.
func BenchmarkHandOut(b *testing.B) {
	const n = 1000
	f := newFixture(b, func(o *options) { o.cfg.QueueFrames, o.cfg.QueueBytes = 1<<30, 1<<30 })
	defer f.end()
	feed := newFeed(b.Context(), f.hub, "g")
	defer feed.end()
	conns := make([]*Conn, n)
	for i := range conns {
		conns[i] = newConn(f.Server, nil, auth.Claims{User: "ann"}, domain.Session{Conn: "sink"}, domain.Admission{})
		feed.add(conns[i], 1)
	}
	feed.isLive = true
	push := domain.Push{Group: "g", Gen: 1, Seq: 1, Event: []byte(`{"event":"message","group":"g","seq":1}`)}
	b.ReportAllocs()
	for b.Loop() {
		feed.push(push)
		if push.Seq++; push.Seq%256 == 0 {
			for _, c := range conns {
				c.queue = c.queue[:0]
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n/float64(b.N), "ns/delivery")
}
