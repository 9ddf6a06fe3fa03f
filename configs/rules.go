package configs

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/go-sql-driver/mysql"

	"hearth/domain"
)

// breach is a rule that a value does not keep.
type breach struct {
	key     string // redis.addrs[0]
	message string
}

// breaches checks every rule that holds in every mode: those of the validate tags, and those between keys.
func (c Config) breaches() []breach {
	var list []breach
	var invalid validator.ValidationErrors
	if err := newValidator().Struct(c); errors.As(err, &invalid) {
		for _, field := range invalid {
			list = append(list, breach{strings.TrimPrefix(field.Namespace(), "Config."), wording(field)})
		}
	}
	list = append(list, c.Webhooks.secretBreach()...)
	return append(list, c.betweenKeys()...)
}

func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("yaml") })
	v.RegisterCustomTypeFunc(func(f reflect.Value) any { return time.Duration(f.Int()) }, Duration(0))
	for tag, form := range forms() {
		is := func(f validator.FieldLevel) bool { return form.is(f.Field().String()) }
		if err := v.RegisterValidation(tag, is); err != nil {
			panic("configs: " + err.Error()) // only for an empty tag
		}
	}
	return v
}

// form is the shape of a text.
type form struct {
	is   func(string) bool
	must string
}

// forms are the rules that are hearth's own.
func forms() map[string]form {
	return map[string]form{
		"id":        {validID, "must be an id: 1 to 64 characters of A-Z a-z 0-9 _ . @ # -"},
		"listen":    {isListen, "must be host:port or :port"},
		"hostport":  {isHostPort, "must be host:port"},
		"origin":    {isOrigin, "must be scheme, host and port of a web page, such as https://chat.example.com"},
		"apikey":    {isAPIKey, errAPIKey.Error()},
		"bucket":    {isBucket, "must be s3:// and the name of a bucket, such as s3://files?region=eu-central-1"},
		"mediatype": {isMediaType, "must be a media type in small letters without parameters, such as image/png"},
		"dsn":       {isDSN, "must be user:password@tcp(host:3306)/database"},
		"network":   {isNetwork, "must be a network such as 10.0.0.0/8"},
		"weburl":    {isWebURL, "must be an http or https URL, such as https://app.example.com/hooks"},
	}
}

func isListen(s string) bool {
	_, port, err := net.SplitHostPort(s)
	return err == nil && isPort(port)
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && !strings.ContainsAny(host, " /@") && isPort(port) && port != "0"
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// isOrigin takes what a browser sends as Origin, and nothing that only looks alike: no path, no slash at the end,
// no capitals, no "*".
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		s == u.Scheme+"://"+strings.ToLower(u.Host) && !strings.Contains(u.Host, "*")
}

func isNetwork(s string) bool {
	_, err := netip.ParsePrefix(s)
	return err == nil
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.Fragment == ""
}

func isAPIKey(s string) bool {
	_, err := ParseAPIKey(s)
	return err == nil
}

func isDSN(s string) bool {
	dsn, err := mysql.ParseDSN(s)
	return err == nil && dsn.DBName != ""
}

func isBucket(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "s3" && u.Host != "" && u.User == nil && u.Path == ""
}

func isMediaType(s string) bool {
	media, params, err := mime.ParseMediaType(s)
	return err == nil && media == s && len(params) == 0 && strings.Contains(s, "/")
}

// secretBreach checks what requests are signed with: a receiver that believes unsigned ones believes everybody.
func (w Webhooks) secretBreach() []breach {
	if w.Secret == "" && w.URL == "" && w.BeforeSendURL == "" {
		return nil
	}
	if w.Secret == "" {
		return []breach{{"webhooks.secret", "is required with webhooks.url or webhooks.before_send_url: whsec_ and the base64 of 24 bytes at least"}}
	}
	if _, err := domain.WebhookKeys(w.Secret.Reveal()); err != nil {
		return []breach{{"webhooks.secret", err.Error()}}
	}
	return nil
}

// wording says a broken rule of a tag in words. It never repeats the value, which may be a secret.
func wording(field validator.FieldError) string {
	if form, ok := forms()[field.Tag()]; ok {
		return form.must
	}
	switch field.Tag() {
	case "min":
		return "must be at least " + field.Param()
	case "max":
		return "must be at most " + field.Param()
	case "oneof":
		choices := strings.Fields(field.Param())
		return "must be " + strings.Join(choices[:len(choices)-1], ", ") + " or " + choices[len(choices)-1]
	default:
		return "is not valid (" + field.Tag() + ")"
	}
}

// betweenKeys checks the rules that tie one key to another.
func (c Config) betweenKeys() []breach {
	rules := []struct {
		broken  bool
		key     string
		message string
	}{
		{c.HTTP.InternalAddr == c.HTTP.Addr, "http.internal_addr", "is the same as http.addr; leave it empty to have everything there"},
		{
			c.Redis.Mode == "standalone" && len(c.Redis.Addrs) > 1, "redis.addrs",
			"mode standalone takes one address; for several, set redis.mode to sentinel or cluster",
		},
		{c.Redis.Mode == "sentinel" && c.Redis.SentinelMaster == "", "redis.sentinel_master", "is required with mode sentinel"},
		{c.Redis.Mode != "sentinel" && c.Redis.SentinelMaster != "", "redis.sentinel_master", "is only for mode sentinel"},
		{c.Redis.Mode == "cluster" && c.Redis.DB != 0, "redis.db", "must be 0 with mode cluster"},
		{c.MySQL.MaxIdle > c.MySQL.MaxOpen, "mysql.max_idle", "must be at most mysql.max_open"},
		{c.Heat.Weights == HeatWeights{}, "heat.weights.speakers", "is 0, and so are the other weights: one of them must be above"},
		{c.Limits.MessageBytes > c.Limits.FrameBytes, "limits.message_bytes", "must be at most limits.frame_bytes"},
		{c.Limits.TextBytes > c.Limits.MessageBytes, "limits.text_bytes", "must be at most limits.message_bytes"},
		{c.Uploads.Direct && c.Uploads.BucketURL == "", "uploads.direct", "is only for an uploads.bucket_url"},
		{c.WS.QueueBytes < c.Limits.FrameBytes, "ws.queue_bytes", "must be at least limits.frame_bytes"},
		{c.Webhooks.RetryMax < c.Webhooks.RetryMin, "webhooks.retry_max", "must be at least webhooks.retry_min"},
		{c.Drain.LBDelay >= c.Drain.Timeout, "drain.lb_delay", "must be less than drain.timeout"},
	}
	var list []breach
	for _, rule := range rules {
		if rule.broken {
			list = append(list, breach{rule.key, rule.message})
		}
	}
	list = append(list, repeatedKeys("auth.api_keys", c.Auth.APIKeys)...)
	return append(list, repeatedKeys("console.keys", c.Console.Keys)...)
}

// repeatedKeys finds ids that name two keys: what one of them did could not be told from the other.
func repeatedKeys(path string, lines []string) []breach {
	var list []breach
	first := make(map[string]int)
	for i, line := range lines {
		key, err := ParseAPIKey(line)
		if err != nil {
			continue // has its own breach
		}
		if j, ok := first[key.ID]; ok {
			list = append(list, breach{
				fmt.Sprintf("%s[%d]", path, i),
				fmt.Sprintf("has the id %q of %s[%d]; to change a key, add one with another id", key.ID, path, j),
			})
			continue
		}
		first[key.ID] = i
	}
	return list
}
