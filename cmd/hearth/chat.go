package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"hearth/domain"
	"hearth/transport/client"
)

const (
	defaultChatURL = "http://127.0.0.1:8080"
	chatTimeout    = 30 * time.Second // of send and of each page of pull
)

// ChatFlags are those of the commands that talk as a user.
type ChatFlags struct {
	URL   string `name:"url" placeholder:"URL" help:"Base URL of an instance, or HEARTH_URL. Default: http://127.0.0.1:8080."`
	Token string `placeholder:"TOKEN" help:"The user's token, or HEARTH_TOKEN; hearth token new makes one."`
	JSON  bool   `name:"json" help:"Print JSON, an object a line."`
}

// fill takes from the environment what was not given.
func (f *ChatFlags) fill(p *Process) error {
	if f.URL == "" {
		f.URL = p.variable("HEARTH_URL", defaultChatURL)
	}
	if f.Token == "" {
		f.Token = p.variable("HEARTH_TOKEN", "")
	}
	u, err := url.Parse(f.URL)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme) {
		return usageError{errors.New("--url must be like " + defaultChatURL)}
	}
	if f.Token == "" {
		return usageError{errors.New("--token or HEARTH_TOKEN is required; hearth token new -u USER makes one")}
	}
	return nil
}

// variable is an environment variable, or the default when it is missing or empty.
func (p *Process) variable(name, otherwise string) string {
	for _, v := range slices.Backward(p.Environ) { // the last one wins, as in os/exec
		if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
			return value
		}
	}
	return otherwise
}

// talk connects for the time of use, whose ctx ends with the connection that is not to come back, and when there was
// none to begin with.
func (f *ChatFlags) talk(ctx context.Context, cfg client.Config, use func(ctx context.Context, c *client.Client) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	connected, note := false, cfg.OnState
	cfg.URLs = []string{f.URL}
	cfg.Token = func(context.Context) (string, error) { return f.Token, nil }
	cfg.OnState = func(s client.State) {
		if connected = connected || s.Connected; !connected {
			cancel(whyNot(s))
		} else if note != nil {
			note(s)
		}
	}
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	running.Go(func() { cancel(c.Run(ctx)) })
	err = use(ctx, c)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	running.Wait()
	return err
}

// whyNot is why there is no connection.
func whyNot(s client.State) error {
	switch s.Code {
	case 0:
		return fmt.Errorf("%s is not reachable: %s", s.URL, s.Reason)
	case http.StatusUnauthorized:
		return fmt.Errorf("the token is not accepted: %s", s.Reason)
	case http.StatusForbidden, http.StatusConflict:
		return fmt.Errorf("not let in: %s", s.Reason)
	}
	return fmt.Errorf("%s refused the connection: %d %s", s.URL, s.Code, s.Reason)
}

// inWords tells what went wrong with a group, or a user.
func inWords(err error, group string) error {
	var refused *client.Error
	var ended *client.EndedError
	switch {
	case errors.As(err, &ended):
		return fmt.Errorf("sent away by the server: %s (%d)", ended.Reason, ended.Code)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.As(err, &refused):
		return errors.New(refusal(domain.Code(refused.Code), refused.Message, group))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", chatTimeout)
	}
	return err
}

func refusal(code domain.Code, message, group string) string {
	switch code {
	case domain.CodeNotFound:
		return "there is no " + group
	case domain.CodeNotMember:
		return "you are not a member of " + group
	case domain.CodeGone:
		return group + " was dismissed"
	}
	return fmt.Sprintf("%s: %s (%s)", group, message, code)
}
