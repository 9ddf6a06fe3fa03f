package transport

import (
	"sync"
	"time"
)

// crewPatience is how long a goroutine of the crew waits for the next connection.
const crewPatience = time.Second

// crew is the goroutines that write: one works for one connection at a time and then waits for the next. A goroutine
// made for each burst would grow its stack anew every time, which costs more than its hand-over.
type crew struct {
	waiting chan *Conn
	quit    chan struct{}
	work    sync.WaitGroup
}

func newCrew() *crew { return &crew{waiting: make(chan *Conn), quit: make(chan struct{})} }

// write has somebody write what the connection has queued. It does not wait.
func (w *crew) write(c *Conn) {
	c.work.Add(1)
	select {
	case w.waiting <- c:
	default:
		w.work.Go(func() { w.run(c) })
	}
}

func (w *crew) run(c *Conn) {
	patience := time.NewTimer(crewPatience)
	defer patience.Stop()
	for {
		c.write()
		c.work.Done()
		patience.Reset(crewPatience)
		select {
		case c = <-w.waiting:
		case <-patience.C:
			return
		case <-w.quit:
			return
		}
	}
}

// close ends those who wait. All connections have ended before.
func (w *crew) close() {
	close(w.quit)
	w.work.Wait()
}
