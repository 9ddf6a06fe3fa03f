package testserver

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between clients and a server and fails as networks do. Its methods, and those of [Links], may be called
// concurrently.
type Proxy struct {
	listener net.Listener
	work     sync.WaitGroup // accept, and two pumps a link

	mu       sync.Mutex // guards what follows, and the state of the links; never held while talking to anybody
	changed  *sync.Cond // a link goes on, or is gone
	target   string
	delay    time.Duration
	links    map[*link]struct{}
	keep     func(reply []byte) bool
	stallNew bool
}

// Links are connections through a [Proxy]. Those that are gone are passed over.
type Links []*link

// link is one connection.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	head           []byte // of what the client says, in lower case; its pump only

	subscriber, stalled, gone bool // guarded by proxy.mu
}

// headBytes are enough for what a client says before it subscribes.
const headBytes = 8 << 10

// NewProxy listens on a free port and forwards to target, a host:port, until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, links: make(map[*link]struct{})}
	p.changed = sync.NewCond(&p.mu)
	p.work.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close() // ends accept, which ends the rest
		p.work.Wait()
	})
	return p
}

// Addr is the host:port it listens on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Links are the connections there are.
func (p *Proxy) Links() Links { return p.those(func(*link) bool { return true }) }

// Subscribers are the connections that have sent Redis a SUBSCRIBE or SSUBSCRIBE and are not stalled.
func (p *Proxy) Subscribers() Links {
	return p.those(func(l *link) bool { return l.subscriber && !l.stalled })
}

// those calls want with mu held.
func (p *Proxy) those(want func(*link) bool) Links {
	p.mu.Lock()
	defer p.mu.Unlock()
	var links Links
	for l := range p.links {
		if want(l) {
			links = append(links, l)
		}
	}
	return links
}

// Keep makes keep decide about everything the server says from now on, as it comes off the wire: what it does not keep
// is lost, and with it the connection. Nil keeps all. It is called concurrently.
func (p *Proxy) Keep(keep func(reply []byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep = keep
}

// Lead makes connections from now on go to another target; those that there are stay where they are.
func (p *Proxy) Lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Delay holds back everything that is said from now on, either way, for d.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// StallNewSubscribers says whether connections that subscribe from now on are stalled before the server hears of it.
func (p *Proxy) StallNewSubscribers(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stallNew = on
}

// Stall lets nothing through any more, either way, and closes nothing: neither end learns that the other has left.
func (ls Links) Stall() { ls.setStalled(true) }

// Resume lets through what Stall has held back, and all that follows.
func (ls Links) Resume() { ls.setStalled(false) }

func (ls Links) setStalled(on bool) {
	for _, l := range ls {
		l.proxy.mu.Lock()
		l.stalled = on
		l.proxy.changed.Broadcast()
		l.proxy.mu.Unlock()
	}
}

// Cut closes both ends.
func (ls Links) Cut() {
	for _, l := range ls {
		l.cut()
	}
}

// CutClients closes the ends of the clients, and the server does not learn of it.
func (ls Links) CutClients() {
	ls.Stall()
	for _, l := range ls {
		_ = l.client.Close()
	}
}

func (l *link) cut() {
	p := l.proxy
	p.mu.Lock()
	l.gone = true
	delete(p.links, l)
	p.changed.Broadcast()
	p.mu.Unlock()
	_, _ = l.client.Close(), l.server.Close() // perhaps not for the first time
}

func (p *Proxy) accept() {
	defer func() { p.Links().Cut() }() // none comes after these
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{proxy: p, client: client, server: server}
		p.mu.Lock()
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.work.Go(func() { l.pump(server, client, l.heard) })
		p.work.Go(func() { l.pump(client, server, l.kept) })
	}
}

// pump asks pass about all it has read.
func (l *link) pump(to, from net.Conn, pass func(said []byte) bool) {
	defer l.cut()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !pass(buf[:n]) {
			return
		}
		l.linger()
		if !l.flows() {
			return
		}
		if _, lost := to.Write(buf[:n]); lost != nil || err != nil {
			return
		}
	}
}

// linger is the way to the other end.
func (l *link) linger() {
	l.proxy.mu.Lock()
	d := l.proxy.delay
	l.proxy.mu.Unlock()
	time.Sleep(d)
}

// flows waits while the link is stalled, and is false once it is gone.
func (l *link) flows() bool {
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	for l.stalled && !l.gone {
		l.proxy.changed.Wait()
	}
	return !l.gone
}

// heard finds out whether the client is a subscriber, by what it says first.
func (l *link) heard(said []byte) bool {
	if len(l.head) > headBytes {
		return true
	}
	l.head = append(l.head, bytes.ToLower(said)...)
	if !bytes.Contains(l.head, []byte("$9\r\nsubscribe\r\n")) && !bytes.Contains(l.head, []byte("$10\r\nssubscribe\r\n")) {
		return true
	}
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	if !l.subscriber {
		l.subscriber = true
		l.stalled = l.stalled || l.proxy.stallNew
	}
	return true
}

func (l *link) kept(reply []byte) bool {
	l.proxy.mu.Lock()
	keep := l.proxy.keep
	l.proxy.mu.Unlock()
	return keep == nil || keep(reply)
}
