package authyapi

// This file owns what an application asks about itself: contract section 9.

func (a *API) appDetails(c call) (any, error) {
	type app struct {
		Name     string `json:"name"`
		Plan     string `json:"plan"`
		SMS      bool   `json:"sms_enabled"`
		Calls    bool   `json:"phone_calls_enabled"`
		AppID    int64  `json:"app_id"`
		OneTouch bool   `json:"onetouch_enabled"`
	}
	set := c.app.Settings
	return struct {
		App     app    `json:"app"`
		Message string `json:"message"`
		Success bool   `json:"success"`
	}{app{c.app.Name, "self_hosted", set.SMSEnabled, !set.CallsOff, c.app.Serial, set.OneTouch}, "Application information.", true}, nil
}

func (a *API) appStats(c call) (any, error) {
	read, err := a.Tenants.Statistics(c.ctx, c.app)
	if err != nil {
		return nil, err
	}
	// Exactly these members: one client refuses others (contract section 1.6).
	type month struct {
		SMS      int64  `json:"sms_count"`
		Calls    int64  `json:"calls_count"`
		Users    int64  `json:"users_count"`
		Auths    int64  `json:"auths_count"`
		Month    string `json:"month"`
		APICalls int64  `json:"api_calls_count"`
		Year     int    `json:"year"`
	}
	months := make([]month, len(read.Months))
	for i, m := range read.Months {
		months[i] = month{m.SMS, m.Calls, m.Users, m.Auths, m.Month.Name(), m.APICalls, m.Month.Year()}
	}
	return struct {
		Message string  `json:"message"`
		Count   int     `json:"count"`
		Users   int64   `json:"total_users"`
		AppID   int64   `json:"app_id"`
		Success bool    `json:"success"`
		Stats   []month `json:"stats"`
	}{"Monthly statistics.", len(months), read.Users, c.app.Serial, true, months}, nil
}
