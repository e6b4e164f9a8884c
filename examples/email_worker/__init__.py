"""
Send 1,200 mails through a server that misbehaves, and lose none.

Run it with `make demo`, or with `python -m examples.email_worker`; `LOOP=trio`
in the environment runs it on trio instead of asyncio.

Read `worker.py` first: it is the whole use of `layered`. Then `__main__.py`,
which starts the processes, kills one of them half-way, and prints the report.
"""
