package moderation

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const lookEvery = 2 * time.Second // at the file

// Words is the list in force. It is domain.Moderator; its methods may be called concurrently.
type Words struct {
	path string
	log  zerolog.Logger
	list atomic.Pointer[list]
	pool sync.Pool // of *worker

	rejected, masked prometheus.Counter

	mu   sync.Mutex // guards what follows: one reads the file at a time
	seen stamp      // of the file when it was read last
}

// stamp tells whether a file has changed.
type stamp struct {
	changed time.Time
	size    int64
}

// worker is what looking through one message takes.
type worker struct {
	scratch
	dec jsontext.Decoder
	in  bytes.Buffer
}

// New reads the list. Run keeps it up to date.
func New(path string, log zerolog.Logger, reg prometheus.Registerer) (*Words, error) {
	counter := func(action string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hearth_moderation_total", ConstLabels: prometheus.Labels{"action": action},
			Help: "Messages and names in which the word list found something, by what it did.",
		})
	}
	w := &Words{
		path: path, log: log, pool: sync.Pool{New: func() any { return new(worker) }},
		rejected: counter("reject"), masked: counter("mask"),
	}
	if err := w.read(); err != nil {
		return nil, err
	}
	reg.MustRegister(w.rejected, w.masked)
	return w, nil
}

// Run reads the file again whenever it has changed, and at once on a signal, until ctx is done. A list that cannot be
// read leaves the one there is in force.
func (w *Words) Run(ctx context.Context, now <-chan os.Signal) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-now:
			w.reload()
		case <-look.C:
			if w.hasChanged() {
				w.reload()
			}
		}
	}
}

func (w *Words) reload() {
	if err := w.read(); err != nil {
		w.log.Error().Err(err).Msg("word list not read, the former one stays in force")
		return
	}
	w.log.Info().Int("words", len(w.list.Load().words)).Msg("word list read")
}

func (w *Words) read() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = stampOf(w.path) // before reading: what is written meanwhile is another change
	text, err := os.ReadFile(w.path)
	if err != nil {
		return fmt.Errorf("word list: %w", err)
	}
	l, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("word list %s: %w", w.path, err)
	}
	w.list.Store(l)
	return nil
}

func (w *Words) hasChanged() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return stampOf(w.path) != w.seen
}

// stampOf is the zero stamp for a file that is not there.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// Body is that of domain.Moderator. It allocates nothing for a body in which nothing is found.
func (w *Words) Body(body []byte) ([]byte, error) {
	k := w.pool.Get().(*worker)
	defer w.pool.Put(k)
	do, masked, err := k.body(w.list.Load(), body, &k.dec, &k.in)
	switch {
	case err != nil:
		return nil, err
	case do == reject:
		w.rejected.Inc()
		return nil, domain.Errorf(domain.CodeRejected, "the word list does not allow this message")
	case do == mask:
		w.masked.Inc()
		return masked, nil
	}
	return body, nil
}

// Name is that of domain.Moderator.
func (w *Words) Name(field, name string) error {
	k := w.pool.Get().(*worker)
	defer w.pool.Put(k)
	if k.judge(w.list.Load(), []byte(name)) == clean {
		return nil
	}
	w.rejected.Inc()
	return &domain.Error{Code: domain.CodeRejected, Field: field, Message: field + ": the word list does not allow this"}
}
