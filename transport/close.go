package transport

import (
	"math/rand/v2"
	"time"

	"github.com/gorilla/websocket"

	"hearth/transport/wire"
)

// close ends the connection: what is queued, goodbye, the close frame.
func (c *Conn) close(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(code, reason)
}

func (c *Conn) endLocked(code int, reason string) {
	if c.closing != 0 || c.gone {
		return
	}
	reconnect := time.Duration(0)
	if code < 4500 {
		reconnect = reconnectAfter()
	}
	if code == wire.CloseTooSlow { // it would not get there
		c.clearQueue()
	}
	c.open = true
	c.queue = append(c.queue, wire.AppendGoodbye(nil, code, reason, reconnect))
	c.closing, c.reason = code, reason
	c.room.Broadcast()
	c.startWriting()
}

// reconnectAfter differs from client to client, so that they do not come back all at once.
func reconnectAfter() time.Duration {
	return 500*time.Millisecond + rand.N(4500*time.Millisecond)
}

func (c *Conn) sendClose(code int, reason string) {
	c.closeNow(code, reason)
	c.setTimer(closeTimer, closeTimeout, c.abort) // the client's close ends the reader, or this does
}

func (c *Conn) closeNow(code int, reason string) {
	message := websocket.FormatCloseMessage(code, reason)
	_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(c.server.cfg.WriteTimeout))
}

func (c *Conn) closeCode() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// abort ends the socket at once.
func (c *Conn) abort() {
	c.mu.Lock()
	c.gone = true
	c.queue = nil
	c.room.Broadcast()
	c.mu.Unlock()
	_ = c.ws.Close()
}

// leaveAll takes the connection out of its feeds.
func (c *Conn) leaveAll() {
	c.mu.Lock()
	feeds := make([]*feed, 0, len(c.feeds))
	for _, f := range c.feeds {
		feeds = append(feeds, f)
	}
	c.feeds = nil
	c.mu.Unlock()
	for _, f := range feeds {
		f.remove(c)
	}
	c.server.hub.unfollow(feeds...)
	c.server.hub.remove(c)
}
