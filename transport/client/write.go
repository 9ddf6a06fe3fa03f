package client

import (
	"time"

	"github.com/gorilla/websocket"

	"hearth/transport/wire"
)

// The server takes 100 frames a second. Whatever waits for its turn meanwhile goes in one frame.
const (
	frameInterval = time.Second / 80
	frameBurst    = 40 // frames that may go at once after a rest
)

// write sends what is queued until the connection ends.
func (c *conn) write() {
	var pace pace
	for {
		select {
		case <-c.done:
			return
		case <-c.wake:
		}
		for c.waits() {
			if !c.sleep(pace.delay(time.Now())) {
				return
			}
			_ = c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
			if err := c.ws.WriteMessage(websocket.TextMessage, c.nextFrame()); err != nil {
				_ = c.ws.Close() // the reader learns of it
				return
			}
		}
	}
}

func (c *conn) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

// nextFrame takes from the queue what fits into a frame, at least one object if there is one.
func (c *conn) nextFrame() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, -1
	for n < len(c.queue) && n < wire.MaxObjects {
		if size += 1 + len(c.queue[n]); n > 0 && size > maxFrameBytes {
			break
		}
		n++
	}
	frame := make([]byte, 0, max(0, size))
	for i, object := range c.queue[:n] {
		if i > 0 {
			frame = append(frame, '\n')
		}
		frame = append(frame, object...)
	}
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	return frame
}

// sleep reports whether the connection lives on afterwards.
func (c *conn) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.done:
		return false
	case <-timer.C:
		return true
	}
}

// pace spreads frames over time.
type pace struct{ next time.Time }

// delay takes the next turn and tells how long to wait for it.
func (p *pace) delay(now time.Time) time.Duration {
	if rested := now.Add(-frameBurst * frameInterval); p.next.Before(rested) {
		p.next = rested
	}
	p.next = p.next.Add(frameInterval)
	return p.next.Sub(now)
}
