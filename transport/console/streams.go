package console

import (
	"context"
	"slices"
	"sync"
	"time"

	"hearth/domain"
)

const (
	maxStreams        = 32 // of an instance
	maxSessionStreams = 8  // of a session, or of who shows his key: nobody takes those of all
)

// streams are those that are open.
type streams struct {
	mu   sync.Mutex // guards open
	open []*openStream
}

type openStream struct {
	owner string // session.owner
	end   context.CancelFunc
}

// enter counts a stream until leave; overloaded when there are enough.
func (s *streams) enter(owner string, end context.CancelFunc) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := 0
	for _, o := range s.open {
		if o.owner == owner {
			own++
		}
	}
	switch {
	case own >= maxSessionStreams:
		return nil, tooManyStreams("this session has as many windows open here as it may: close some")
	case len(s.open) >= maxStreams:
		return nil, tooManyStreams("this instance shows as much as it can to others")
	}
	stream := &openStream{owner, end}
	s.open = append(s.open, stream)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open = slices.DeleteFunc(s.open, func(o *openStream) bool { return o == stream })
	}, nil
}

// endOf ends those of an owner.
func (s *streams) endOf(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		if o.owner == owner {
			o.end()
		}
	}
}

func tooManyStreams(message string) error {
	return &domain.Error{Code: domain.CodeOverloaded, Message: message, RetryAfter: 5 * time.Second}
}
