"""What the hypervisors' syslog said before something broke.

Lines are read (`reading`), their templates learnt (`templates`) and the events kept as Parquet
(`store`); templates become groups (`groups`); events become series, whose causal graphs
(`causality`) give the rare edges, bursts and silences (`detect`) that make a window abnormal.
The analysis follows chapter 3 of the WIDE cloud working group's report of 2015, and goes beyond it
where docs/syslog.md says so.

Data flows one way: files -> lines -> keys -> templates -> groups -> series -> graphs -> findings.
"""
