package redisrepo

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a store and its Redis and fails as networks do.
type proxy struct {
	listener net.Listener
	target   string
	// keep is asked about what the server says; what it does not keep is lost, and with it the connection.
	keep atomic.Pointer[func(reply []byte) bool]
	work sync.WaitGroup

	mu    sync.Mutex // guards what follows
	links map[*link]struct{}
}

type link struct {
	client, server net.Conn
	stalled        atomic.Bool
	end            func()
	ended          chan struct{}
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, target: target, links: make(map[*link]struct{})}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
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
		l := &link{client: client, server: server, ended: make(chan struct{})}
		l.end = sync.OnceFunc(func() {
			close(l.ended)
			_ = client.Close()
			_ = server.Close()
			p.mu.Lock()
			delete(p.links, l)
			p.mu.Unlock()
		})
		p.mu.Lock()
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.work.Go(func() { p.pump(l, server, client, false) })
		p.work.Go(func() { p.pump(l, client, server, true) })
	}
}

func (p *proxy) pump(l *link, to, from net.Conn, reply bool) {
	defer l.end()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if l.stalled.Load() {
			<-l.ended
			return
		}
		if keep := p.keep.Load(); reply && keep != nil && !(*keep)(buf[:n]) {
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

// stall stops forwarding on the connections there are, without closing them.
func (p *proxy) stall() {
	for _, l := range p.open() {
		l.stalled.Store(true)
	}
}

// cut closes the connections there are.
func (p *proxy) cut() {
	for _, l := range p.open() {
		l.end()
	}
}
