package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"hearth/configs"
	"hearth/transport/webhook"
	"hearth/transport/wire"
)

// HooksCmd is `hearth hooks`.
type HooksCmd struct {
	Test   HooksTestCmd   `cmd:"" help:"Post a sample of each event to a receiver, and tell what it answers and what to fix."`
	List   HooksListCmd   `cmd:"" help:"List the events that were given up because the receiver did not take them."`
	Retry  HooksRetryCmd  `cmd:"" help:"Have events told after all that were given up: all, or those of a group."`
	Replay HooksReplayCmd `cmd:"" help:"Have messages of a group told once more, as after_send."`
}

// HooksTestCmd is `hearth hooks test`.
type HooksTestCmd struct {
	ConfigFlag
	URL     string        `arg:"" name:"URL" help:"http or https address of the receiver."`
	Secret  string        `placeholder:"SECRET" help:"What the events are signed with, as webhooks.secret. Default: that of the configuration."`
	Event   []string      `placeholder:"EVENT" help:"Only this: before_send, after_send, recalled, group_changed or member_changed. May be given several times."`
	Timeout time.Duration `default:"10s" help:"How long to wait for each answer."`
}

// sampleBody is what the samples' messages say.
var sampleBody = []byte(`[{"type":"text","text":"a test of hearth"}]`)

// hookSamples are one event of each type, with its data.
var hookSamples = []struct{ event, data string }{
	{webhook.BeforeSend, `{"group":"hearth-test","type":"group","from":"ann","client_id":"test-1","body":` + string(sampleBody) + `}`},
	{webhook.AfterSend, `{"group":"hearth-test","seq":1,"time_ms":%[1]d,"from":"ann","client_id":"test-1","body":` + string(sampleBody) + `}`},
	{webhook.Recalled, `{"group":"hearth-test","seq":1,"by":"ann","time_ms":%[1]d}`},
	{webhook.GroupChanged, `{"group":"hearth-test","change":"updated","by":"ann"}`},
	{webhook.MemberChanged, `{"group":"hearth-test","change":"joined","user":"bob"}`},
}

// Validate refuses events that there are not; kong calls it.
func (c *HooksTestCmd) Validate() error {
	for _, event := range c.Event {
		if !slices.ContainsFunc(hookSamples, func(s struct{ event, data string }) bool { return s.event == event }) {
			return errors.New("--event must be before_send, after_send, recalled, group_changed or member_changed")
		}
	}
	if c.Timeout <= 0 {
		return errors.New("--timeout must be more than 0")
	}
	return nil
}

// Run prints what became of each event. It fails when one did not get the answer that hearth needs.
func (c *HooksTestCmd) Run(ctx context.Context, p *Process) error {
	secret, patience, err := c.settings(p)
	if err != nil {
		return err
	}
	client, err := webhook.New(webhook.Config{URL: c.URL, Secret: secret})
	if err != nil {
		return usageError{err}
	}
	defer client.Close()
	t := &hooksTest{p: p, client: client, timeout: c.Timeout, patience: patience}
	posted := 0
	for _, s := range hookSamples {
		if len(c.Event) > 0 && !slices.Contains(c.Event, s.event) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		posted++
		if err := t.post(ctx, s.event, s.data); err != nil {
			return err
		}
	}
	if t.failed > 0 {
		return fmt.Errorf("%d of %s failed", t.failed, plural(posted, "event"))
	}
	return nil
}

// settings are the secret and how long instances wait for before_send; with --secret they are asked for in no file.
func (c *HooksTestCmd) settings(p *Process) (secret string, patience time.Duration, err error) {
	config := configs.Default()
	if c.Secret == "" || c.Config != "" {
		if config, err = c.load(p); err != nil {
			return "", 0, err
		}
	}
	if secret = c.Secret; secret == "" {
		secret = config.Webhooks.Secret.Reveal()
	}
	if secret == "" {
		return "", 0, usageError{errors.New("what are the events signed with? Give --secret, -c FILE or HEARTH_WEBHOOKS_SECRET")}
	}
	return secret, config.Webhooks.BeforeSendTimeout.D(), nil
}

// hooksTest counts what failed.
type hooksTest struct {
	p        *Process
	client   *webhook.Client
	timeout  time.Duration
	patience time.Duration // of instances, with before_send
	failed   int
}

// post posts a sample and prints what it got; the error is one of this side.
func (t *hooksTest) post(ctx context.Context, event, data string) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	now := time.Now()
	if strings.Contains(data, "%[1]d") {
		data = fmt.Sprintf(data, now.UnixMilli())
	}
	req, err := t.client.Request(ctx, webhook.Event{
		ID: "test-" + uuid.Must(uuid.NewV7()).String(), Type: event, TimeMS: now.UnixMilli(), Data: json.RawMessage(data),
	})
	if err != nil {
		return err
	}
	status, answer, err := t.client.Do(req)
	took := time.Since(now)
	fmt.Fprintf(t.p.Stdout, "%s  %s, %d ms\n", event, outcomeOf(status, err), took.Milliseconds())
	for _, name := range []string{webhook.HeaderID, webhook.HeaderTimestamp, webhook.HeaderSignature} {
		fmt.Fprintf(t.p.Stdout, "  %s: %s\n", name, req.Header.Get(name))
	}
	fix := adviceOn(err, t.timeout)
	if err == nil && event == webhook.BeforeSend {
		fix = t.beforeSend(answer, took)
	}
	if fix != "" {
		t.failed++
		fmt.Fprintf(t.p.Stdout, "  to fix: %s\n", fix)
	}
	return nil
}

// beforeSend says what the answer to before_send means, and returns what to fix about it.
func (t *hooksTest) beforeSend(answer []byte, took time.Duration) (fix string) {
	check := func(body []byte) ([]byte, error) { return wire.Body(body, wire.DefaultLimits) }
	verdict, err := webhook.ParseVerdict(answer, sampleBody, check)
	if err != nil {
		return err.Error() + `; to let a message pass, answer {"allow":true}`
	}
	switch {
	case verdict.Refused != nil:
		fmt.Fprintf(t.p.Stdout, "  it rejects the message; the sender is told: %s\n", printable(verdict.Refused.Message))
	case verdict.Body != nil:
		fmt.Fprintln(t.p.Stdout, "  it lets the message pass with another body")
	default:
		fmt.Fprintln(t.p.Stdout, "  it lets the message pass")
	}
	if took > t.patience {
		return fmt.Sprintf("answer within %s (webhooks.before_send_timeout): senders wait for it", t.patience)
	}
	return ""
}

// outcomeOf is the status, or why there is none.
func outcomeOf(status int, err error) string {
	var refused *webhook.StatusError
	switch {
	case err == nil || errors.As(err, &refused):
		return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return printable(err.Error())
}

// adviceOn tells what to do about a failure, "" for none.
func adviceOn(err error, timeout time.Duration) string {
	var status *webhook.StatusError
	var dns *net.DNSError
	var certificate x509.UnknownAuthorityError
	var name x509.HostnameError
	var expired x509.CertificateInvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &status):
		return adviceOnStatus(status.Status)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("there was no answer within %s; answer 2xx first, work afterwards", timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there; is the receiver running, and is the port right?"
	case errors.As(err, &dns):
		return "the host's name is not known here"
	case errors.As(err, &certificate), errors.As(err, &name), errors.As(err, &expired):
		return "the certificate is not accepted; instances need one that they trust, for this host and not expired"
	}
	return "is the address right, and http or https as the receiver speaks it?"
}

func adviceOnStatus(status int) string {
	switch {
	case status >= 300 && status < 400:
		return "redirects are not followed; give the address that it redirects to"
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return "the receiver refuses the signature or the caller; has it this secret, and does it verify the body as it came, before it is parsed?"
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return "the receiver has no POST at this path"
	case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity || status == http.StatusUnsupportedMediaType:
		return "the receiver does not take this event; it has to answer 2xx to what it does not know, too"
	case status >= 500:
		return "the receiver failed; its log tells why"
	}
	return "the receiver has to answer 2xx"
}
