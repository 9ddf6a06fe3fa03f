package e2e

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between hearth and Redis and lets only the connections of subscribers go bad.
type proxy struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup
	freeze   atomic.Bool // subscribers that come from now on are stalled from the start

	mu    sync.Mutex // guards what follows
	links map[*link]struct{}
}

// link is a connection through the proxy.
type link struct {
	client, server net.Conn
	head           []byte      // of what the client says, until it is clear whether it subscribes; its pump only
	subscriber     atomic.Bool // it has subscribed
	stalled        atomic.Bool // nothing gets through any more, either way
	end            func()
	ended          chan struct{}
}

// headBytes are enough for what a client says before it subscribes.
const headBytes = 8 << 10

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, links: make(map[*link]struct{})}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		for _, link := range p.open() {
			link.end()
		}
		p.work.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.join(client, server)
	}
}

func (p *proxy) join(client, server net.Conn) {
	l := &link{client: client, server: server, ended: make(chan struct{})}
	l.end = sync.OnceFunc(func() {
		close(l.ended)
		_, _ = client.Close(), server.Close()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	})
	p.mu.Lock()
	p.links[l] = struct{}{}
	p.mu.Unlock()
	p.work.Go(func() { l.pump(server, client, p.look(l)) })
	p.work.Go(func() { l.pump(client, server, nil) })
}

// look finds out from what a client says first whether it is a subscriber.
func (p *proxy) look(l *link) func(said []byte) {
	return func(said []byte) {
		if l.subscriber.Load() || len(l.head) > headBytes {
			return
		}
		l.head = append(l.head, bytes.ToLower(said)...)
		if bytes.Contains(l.head, []byte("$9\r\nsubscribe\r\n")) || bytes.Contains(l.head, []byte("$10\r\nssubscribe\r\n")) {
			l.stalled.Store(p.freeze.Load())
			l.subscriber.Store(true)
			l.head = nil
		}
	}
}

func (l *link) pump(to, from net.Conn, look func(said []byte)) {
	defer l.end()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil && !l.stalled.Load() {
			return
		}
		if look != nil && err == nil {
			look(buf[:n])
		}
		if l.stalled.Load() { // half of the world does not learn that the other half is gone
			<-l.ended
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) open() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	var links []*link
	for l := range p.links {
		links = append(links, l)
	}
	return links
}

// subscribers are the connections that have subscribed and are not stalled.
func (p *proxy) subscribers() []*link {
	var links []*link
	for _, l := range p.open() {
		if l.subscriber.Load() && !l.stalled.Load() {
			links = append(links, l)
		}
	}
	return links
}

// cut closes the subscribers' connections.
func (p *proxy) cut() {
	for _, l := range p.subscribers() {
		l.end()
	}
}

// stall freezes the subscribers' connections without closing them, and returns a function that closes what is left of
// them.
func (p *proxy) stall() (bury func()) {
	links := p.subscribers()
	for _, l := range links {
		l.stalled.Store(true)
	}
	return func() {
		for _, l := range links {
			l.end()
		}
	}
}
