package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	defaultConsoleURL = "http://127.0.0.1:9090"
	consoleTimeout    = 5 * time.Second
	maxConsoleAnswer  = 8 << 20
)

// ConsoleFlags are those of the commands that ask an instance's console.
type ConsoleFlags struct {
	URL  string `name:"url" placeholder:"URL" help:"Where an instance serves its console (http.internal_addr), or HEARTH_CONSOLE_URL. Default: http://127.0.0.1:9090."`
	Key  string `placeholder:"KEY" help:"A key of the console (console.keys), or HEARTH_CONSOLE_KEY."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// fill takes from the environment what was not given.
func (f *ConsoleFlags) fill(p *Process) error {
	if f.URL == "" {
		f.URL = p.variable("HEARTH_CONSOLE_URL", defaultConsoleURL)
	}
	if f.Key == "" {
		f.Key = p.variable("HEARTH_CONSOLE_KEY", "")
	}
	u, err := url.Parse(f.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usageError{errors.New("--url must be like " + defaultConsoleURL)}
	}
	if f.Key == "" {
		return usageError{errors.New("--key or HEARTH_CONSOLE_KEY is required; hearth keys new makes one, its line goes to console.keys")}
	}
	return nil
}

// refusedError is what asking again does not change.
type refusedError struct{ error }

func refused(format string, args ...any) error { return refusedError{fmt.Errorf(format, args...)} }

// get asks the console and returns its answer as it is.
func (f *ConsoleFlags) get(ctx context.Context, path ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, consoleTimeout)
	defer cancel()
	at, err := url.JoinPath(f.URL, append([]string{"console", "api"}, path...)...)
	if err != nil {
		return nil, usageError{err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, usageError{err}
	}
	request.Header.Set("Authorization", "Bearer "+f.Key)
	client := http.Client{ // another address is not given the key
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, f.unreachable(ctx, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxConsoleAnswer))
	if err != nil {
		return nil, f.unreachable(ctx, err)
	}
	return answer, f.refusal(response, answer)
}

func (f *ConsoleFlags) unreachable(ctx context.Context, err error) error {
	var failed *url.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer within %s", f.URL, consoleTimeout)
	case errors.As(err, &failed):
		err = failed.Err
	}
	return fmt.Errorf("%s is not reachable: %w", f.URL, err)
}

// refusal is nil for 200. What is no problem of hearth's own comes from something that is not its console.
func (f *ConsoleFlags) refusal(response *http.Response, answer []byte) error {
	if response.StatusCode == http.StatusOK && json.Valid(answer) {
		return nil
	}
	var problem struct{ Code, Detail string }
	elsewhere := json.Unmarshal(answer, &problem) != nil || problem.Code == "" ||
		problem.Detail == "there is no such route" || problem.Detail == "there is no such page or route"
	if elsewhere {
		return refused("there is no console at %s (it answered %s); is console.keys set, and is this the instance's http.internal_addr?",
			f.URL, response.Status)
	}
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return refused("%s does not know the key: %s", f.URL, printable(problem.Detail))
	case http.StatusNotFound, http.StatusBadRequest:
		return refused("%s", printable(problem.Detail))
	}
	return fmt.Errorf("%s: %s (%s)", f.URL, printable(problem.Detail), printable(problem.Code))
}
